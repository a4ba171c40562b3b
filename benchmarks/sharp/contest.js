// sharp as a contestant of `make bench-images`; benchmarks/images/tasks.py says what is asked and how it is measured.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";

const [photo, task, tiny, folder] = process.argv.slice(2);
const formats = { first: ["jpeg"], six: ["jpeg", "webp"], nine: ["jpeg", "webp", "avif"] }[task];
const sides = task === "first" ? [720, 200] : [1080, 720, 200];
// As in benchmarks/images/libvips.py.
const same = process.env.EFFORT === "same";
const mozjpeg = process.env.EFFORT === "mozjpeg";

sharp.cache(false);
if (process.env.THREADS) sharp.concurrency(Number(process.env.THREADS));

const encoders = {
  jpeg: (picture) => picture.jpeg({ quality: 75, progressive: true, mozjpeg }),
  webp: (picture, side) => picture.webp({ quality: 75, effort: same && side > 200 ? 2 : 4 }),
  // libheif's speed is 9 less the effort.
  avif: (picture, side) => picture.avif({ quality: 58, chromaSubsampling: "4:2:0", effort: side > 720 ? 0 : 1 }),
};

// Decoded once, small; its documentation calls this sharing a pixel buffer between pipelines.
async function renditions(file) {
  const outputs = {};
  const inside = { fit: "inside", withoutEnlargement: true };
  let { data, info } = await sharp(file)
    .autoOrient()
    .resize(sides[0], sides[0], inside)
    .raw()
    .toBuffer({ resolveWithObject: true });
  for (const side of sides) {
    if (side !== sides[0]) {
      const fit = side === 200 ? { fit: "cover" } : inside;
      ({ data, info } = await sharp(data, { raw: info }).resize(side, side, fit).raw().toBuffer({ resolveWithObject: true }));
    }
    await Promise.all(
      formats.map(async (name) => {
        outputs[`${side}.${name}`] = await encoders[name](sharp(data, { raw: info }), side).toBuffer();
      }),
    );
  }
  return outputs;
}

function kilobytes(name) {
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))[1]);
}

await renditions(tiny);
writeFileSync("/proc/self/clear_refs", "5");
const start = kilobytes("VmRSS");
const cpu = process.cpuUsage();
const wall = performance.now();
const outputs = await renditions(photo);
const used = process.cpuUsage(cpu);
const figures = {
  tool: `sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`,
  cpu_s: (used.user + used.system) / 1e6,
  wall_s: (performance.now() - wall) / 1e3,
  start_mb: start / 1e3,
  peak_mb: kilobytes("VmHWM") / 1e3,
};
for (const [name, body] of Object.entries(outputs)) writeFileSync(join(folder, name), body);
console.log(JSON.stringify(figures));
