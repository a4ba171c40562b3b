// Usage: node run.mjs http://127.0.0.1:8080/graphql MARKER; the marker makes the documents new to the service.
// Each client asks the same question twice, by POST and by GET. Prints, for each, the answers and the requests it made.
import { createHash } from "node:crypto";
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";

const [url, marker] = process.argv.slice(2);
if (!marker) {
  console.error("usage: node run.mjs URL MARKER");
  process.exit(2);
}

function recording() {
  const requests = [];
  const record = async (input, init = {}) => {
    const response = await fetch(input, init);
    const sent = init.method === "GET" ? Object.fromEntries(new URL(input).searchParams) : JSON.parse(init.body);
    requests.push({ method: init.method, text: Boolean(sent.query), hash: JSON.stringify(sent).includes("sha256Hash"), status: response.status });
    return response;
  };
  return { requests, record };
}

async function apollo(useGETForHashedQueries) {
  const { requests, record } = recording();
  const persisted = new PersistedQueryLink({
    sha256: (text) => createHash("sha256").update(text).digest("hex"),
    useGETForHashedQueries,
  });
  const client = new ApolloClient({
    link: persisted.concat(new HttpLink({ uri: url, fetch: record })),
    cache: new InMemoryCache(),
  });
  const query = gql(`query Apollo${marker}${useGETForHashedQueries} { hello(name: "Apollo") }`);
  const answers = [];
  for (let turn = 0; turn < 2; turn++) {
    answers.push((await client.query({ query, fetchPolicy: "network-only" })).data.hello);
  }
  return { answers, requests };
}

async function urql(preferGetForPersistedQueries) {
  const { requests, record } = recording();
  const client = new Client({
    url,
    fetch: record,
    exchanges: [persistedExchange({ preferGetForPersistedQueries }), fetchExchange],
  });
  const query = `query Urql${marker}${preferGetForPersistedQueries} { hello(name: "urql") }`;
  const answers = [];
  for (let turn = 0; turn < 2; turn++) {
    const { data, error } = await client.query(query, {}, { requestPolicy: "network-only" }).toPromise();
    answers.push(data?.hello ?? String(error));
  }
  return { answers, requests };
}

const found = { apolloPost: await apollo(false), apolloGet: await apollo(true), urqlPost: await urql(false), urqlGet: await urql(true) };
console.log(JSON.stringify(found));
