// The feed's resolvers over the `mongodb` driver, shared by both Node.js servers.

import { readFileSync } from "node:fs";
import { MongoClient, UUID } from "mongodb";
import { signAsDocumented, signWithAdvantages } from "./signing.mjs";

export const settings = JSON.parse(process.env.PEER_SETTINGS);
export const typeDefs = readFileSync(settings.schema, "utf8");

/** Resolvers whose collection is open. */
export async function openResolvers() {
  const client = await MongoClient.connect(settings.mongoUri);
  const collection = client.db(settings.database).collection("media");
  const signing = settings.advantages ? signWithAdvantages(settings) : signAsDocumented(settings);

  async function feed(_root, { purpose, first, after }, _context, info) {
    const query = { purpose, status: "READY", visibility: "PUBLIC", ...(after && { _id: { $lt: idOf(after) } }) };
    const projection = settings.advantages ? settings.projections[info.operation.name.value] : undefined;
    const found = await collection.find(query, { projection }).sort({ _id: -1 }).limit(first + 1).toArray();
    const edges = found.slice(0, first).map((node) => ({ cursor: cursorOf(node._id), node }));
    return { edges, pageInfo: { hasNextPage: found.length > first, endCursor: edges.at(-1)?.cursor ?? null } };
  }

  const Media = {
    id: (media) => Buffer.from(`Media:${media._id}`).toString("base64"),
    altText: (media) => media.alt_text,
    createdAt: (media) => media.created_at.toISOString(),
    width: (media) => media.content.width,
    height: (media) => media.content.height,
    thumbhash: (media) => media.placeholder.thumbhash,
    display: (media, { hint }) => {
      const chosen = chooseForSlot(media.renditions, hint);
      return chosen && { ...chosen, sign: () => signing.one(media, chosen) };
    },
    renditions: (media, { names, formats }) => {
      const matching = media.renditions.filter(
        (each) => (!names || names.includes(each.name)) && (!formats || formats.includes(each.format)),
      );
      const signs = signing.together(media, matching);
      return matching.map((each, index) => ({ ...each, sign: signs[index] }));
    },
  };
  return { Query: { feed }, Media, Rendition: { url: (rendition) => rendition.sign() } };
}

function cursorOf(id) {
  return Buffer.concat([Buffer.from("m1"), id.buffer]).toString("base64url");
}

function idOf(cursor) {
  return new UUID(Buffer.from(cursor, "base64url").subarray(2));
}

/** The smallest file among the narrowest renditions that are sharp in the slot. */
function chooseForSlot(renditions, { width, devicePixelRatio, accept }) {
  const pixels = width * (devicePixelRatio ?? 1);
  const usable = renditions.filter((each) => each.format === "JPEG" || accept?.includes(each.format));
  const sharp = usable.filter((each) => each.width >= pixels).map((each) => each.width);
  const wanted = sharp.length ? Math.min(...sharp) : Math.max(...usable.map((each) => each.width));
  return usable
    .filter((each) => each.width === wanted)
    .reduce((best, each) => (best === null || each.bytes < best.bytes ? each : best), null);
}
