// Follows subscriptions at the address given as the first argument, with each library as its own documentation says,
// and prints as JSON what it was told.
import { Client, fetchExchange } from "@urql/core";
import { createClient as createStreamClient } from "graphql-sse";
import { createClient as createSocketClient } from "graphql-ws";
import { onEnd, onPush, pipe, publish } from "wonka";
import WebSocket from "ws";

const address = process.argv[2];
const COUNT = "subscription ($upto: Int!) { count(upto: $upto) }";
const HELLO = "{ hello }";

async function collect(iterator) {
  const answers = [];
  for await (const answer of iterator) answers.push(answer);
  return answers;
}

// One library throws the errors of what cannot run, the other hands them out as an answer.
async function errorsOf(client, query) {
  try {
    return (await collect(client.iterate({ query }))).flatMap((answer) => answer.errors);
  } catch (errors) {
    return errors;
  }
}

async function followed(client) {
  return {
    subscription: await collect(client.iterate({ query: COUNT, variables: { upto: 3 } })),
    query: await collect(client.iterate({ query: HELLO })),
    refused: await errorsOf(client, "subscription { refused }"),
    invalid: await errorsOf(client, "subscription { nothing }"),
  };
}

async function graphqlWs() {
  const client = createSocketClient({ url: address.replace("http", "ws"), webSocketImpl: WebSocket, retryAttempts: 0 });
  const told = await followed(client);
  await client.dispose();
  return told;
}

async function graphqlSse() {
  const client = createStreamClient({ url: address, retryAttempts: 0 });
  const told = await followed(client);
  client.dispose();
  return told;
}

async function urql() {
  const types = [];
  async function fetchNoting(url, options) {
    const response = await fetch(url, options);
    types.push(response.headers.get("content-type"));
    return response;
  }
  const client = new Client({
    url: address,
    exchanges: [fetchExchange],
    fetchSubscriptions: true,
    preferGetMethod: false,
    fetch: fetchNoting,
  });
  function ask(source) {
    const results = [];
    return new Promise((resolve) => {
      const note = ({ data, error }) => results.push(error ? { error: error.message } : { data });
      pipe(source, onPush(note), onEnd(() => resolve(results)), publish);
    });
  }
  const subscription = await ask(client.subscription(COUNT, { upto: 3 }));
  const { data } = await client.query(HELLO, {}).toPromise();
  return { subscription, query: [{ data }], types };
}

console.log(JSON.stringify({ "graphql-ws": await graphqlWs(), "graphql-sse": await graphqlSse(), urql: await urql() }));
process.exit(0);
