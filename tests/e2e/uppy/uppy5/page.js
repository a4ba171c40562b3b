import AwsS3 from '@uppy/aws-s3';
import Uppy from '@uppy/core';

import { uppy5Options } from '../../../../clients/js/src/uppy.js';
import { start } from '../harness.js';

start(Uppy, AwsS3, uppy5Options);
