// Operations to begin with.

export const EXAMPLES = [
  {
    name: 'The feed',
    query: `query Feed($first: Int!, $hint: DisplayHint) {
  feed(purpose: COMMUNITY, first: $first, hint: $hint) {
    nodes {
      id
      title
      width
      height
      thumbhash
      display { url width format }
    }
    pageInfo { endCursor hasNextPage }
  }
}`,
    variables: { first: 3, hint: { width: 360, devicePixelRatio: 2, accept: ['WEBP'] } },
  },
  {
    name: 'My media, in any status',
    query: `{
  viewer { id }
  mediaList(first: 10) {
    nodes {
      id
      status
      statusHistory { status sequence at }
      failure { code message retryable }
    }
  }
}`,
    variables: {},
  },
  {
    name: 'Announce an upload',
    query: `mutation CreateUploads($input: CreateUploadsInput!) {
  createUploads(input: $input) {
    outcomes {
      upload { id media { id } target { method url headers { name value } expiresAt } }
      userErrors { code message field }
    }
    userErrors { code message field }
  }
}`,
    variables: {
      input: {
        idempotencyKey: 'my-first-upload',
        purpose: 'COMMUNITY',
        files: [{ contentType: 'image/jpeg', byteSize: 1024, sha256: '0'.repeat(64), title: 'A photo' }],
      },
    },
  },
  {
    name: 'Follow a status',
    query: `subscription Follow($ids: [ID!]!) {
  mediaStatus(ids: $ids) {
    status
    sequence
    progress
    cursor
  }
}`,
    variables: { ids: ['the id of a media'] },
  },
];
