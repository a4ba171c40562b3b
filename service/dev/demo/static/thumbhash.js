// ThumbHash decoder, after https://github.com/evanw/thumbhash (js/thumbhash.js).
//
// Copyright (c) 2023 Evan Wallace
//
// Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
// documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
// rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
// permit persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright
// notice and this permission notice shall be included in all copies or substantial portions of the Software. THE
// SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
// WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS
// OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
// OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

const LONG_SIDE = 32;

// A canvas with the placeholder that `base64` stands for, or an empty one if it is no ThumbHash.
export function placeholder(base64) {
  const canvas = document.createElement('canvas');
  const hash = bytesOf(base64);
  if (hash.length < 5 || (hash[2] & 0x80 && hash.length < 6)) return canvas;
  const { width, height, rgba } = decode(hash);
  Object.assign(canvas, { width, height });
  canvas.getContext('2d').putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

function bytesOf(base64) {
  try {
    return Uint8Array.from(atob(base64 ?? ''), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

export function decode(hash) {
  const header24 = hash[0] | (hash[1] << 8) | (hash[2] << 16);
  const header16 = hash[3] | (hash[4] << 8);
  const hasAlpha = header24 >> 23;
  const landscape = header16 >> 15;
  const long = hasAlpha ? 5 : 7;
  const lx = landscape ? long : header16 & 7;
  const ly = landscape ? header16 & 7 : long;

  const factors = factorsOf(hash, hasAlpha ? 6 : 5);
  const channel = (dc, nx, ny, scale) => ({ dc, nx, ny, ac: factors(nx, ny, scale) });
  const l = channel((header24 & 63) / 63, Math.max(3, lx), Math.max(3, ly), ((header24 >> 18) & 31) / 31);
  // 1.25 makes up for the saturation that quantisation takes.
  const p = channel(((header24 >> 6) & 63) / 31.5 - 1, 3, 3, (((header16 >> 3) & 63) / 63) * 1.25);
  const q = channel(((header24 >> 12) & 63) / 31.5 - 1, 3, 3, (((header16 >> 9) & 63) / 63) * 1.25);
  const a = hasAlpha ? channel((hash[5] & 15) / 15, 5, 5, (hash[5] >> 4) / 15) : { dc: 1, nx: 0, ny: 0, ac: [] };
  return paint(lx / ly, [l, p, q, a]);
}

function factorsOf(hash, start) {
  let index = 0;
  return (nx, ny, scale) => {
    const factors = [];
    for (let cy = 0; cy < ny; cy++) {
      for (let cx = cy ? 0 : 1; cx * ny < nx * (ny - cy); cx++) {
        const nibble = (hash[start + (index >> 1)] >> ((index++ & 1) << 2)) & 15;
        factors.push((nibble / 7.5 - 1) * scale);
      }
    }
    return factors;
  };
}

function paint(ratio, channels) {
  const width = Math.round(ratio > 1 ? LONG_SIDE : LONG_SIDE * ratio);
  const height = Math.round(ratio > 1 ? LONG_SIDE / ratio : LONG_SIDE);
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const [l, p, q, a] = channels.map((channel) => valueAt(channel, (x + 0.5) / width, (y + 0.5) / height));
      const b = l - (2 / 3) * p;
      const r = (3 * l - b + q) / 2;
      rgba.set([r, r - q, b, a].map((value) => 255 * value), at);
    }
  }
  return { width, height, rgba };
}

function valueAt({ dc, nx, ny, ac }, x, y) {
  let value = dc;
  for (let cy = 0, index = 0; cy < ny; cy++) {
    const fy = Math.cos(Math.PI * y * cy) * 2;
    for (let cx = cy ? 0 : 1; cx * ny < nx * (ny - cy); cx++) value += ac[index++] * Math.cos(Math.PI * x * cx) * fy;
  }
  return value;
}
