// What the page asks of the API: the same operations any other client would send.

const CARD = `fragment Card on Media {
  id kind title altText ownerId visibility status createdAt position
  width height durationMs dominantColor thumbhash renditionsComplete
  srcset(accept: [AVIF, WEBP])
  display(hint: $hint) { url }
}`;

export const VIEWER = `query Viewer { viewer { id } }`;

export const FEED = `query Feed($after: String, $hint: DisplayHint) {
  feed(purpose: COMMUNITY, first: 12, after: $after) {
    nodes { ...Card }
    pageInfo { endCursor hasNextPage }
  }
}
${CARD}`;

export const AGAIN = `query Again($id: ID!, $hint: DisplayHint) {
  media(id: $id) { ...Card }
}
${CARD}`;

export const LARGE = `query Large($id: ID!, $hint: DisplayHint!) {
  media(id: $id) {
    id renditionsComplete
    display(hint: $hint) { url width height }
    previews: renditions(names: [PREVIEW]) { url width height }
  }
}`;

export const DELETE_MEDIA = `mutation DeleteMedia($input: DeleteMediaInput!) {
  deleteMedia(input: $input) { userErrors { message retryable retryAfterMs } }
}`;

export const FOLLOW = `subscription Follow($ids: [ID!]!, $after: String, $hint: DisplayHint) {
  mediaStatus(ids: $ids, after: $after) {
    status progress cursor
    media { ...Card failure { message } }
  }
}
${CARD}`;
