// Uppy on this service: options for `@uppy/aws-s3`, version 6 (`uppyOptions`) and version 5 (`uppy5Options`).
//
//   const uppy = new Uppy();
//   uppy.use(AwsS3, uppyOptions(uppy, new MediaApi('/graphql', { getToken }), { purpose: 'COMMUNITY' }));

export { uppy5Options } from './uppy-5.js';
export { uppyOptions } from './uppy-6.js';
