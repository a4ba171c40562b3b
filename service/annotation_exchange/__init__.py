"""Annotations from and to the files of other tools: COCO, Pascal VOC and YOLO. docs/annotations.md says what is kept.

`coco`, `voc` and `yolo` read their format, a record at a time; `importing` gathers the records of each picture in a
`spool` on disk, finds out which media it is, and lets them take the place of what their source said of it before.
`exporting` reads media after media and hands them to a writer of `coco_files`, `voc_files` or `yolo_files`.
"""
