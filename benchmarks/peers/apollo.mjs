// Apollo Server: standalone as its documentation shows, or on Fastify, the fastest of its integrations.

import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import fastifyApollo from "@as-integrations/fastify";
import Fastify from "fastify";
import { openResolvers, settings, typeDefs } from "./media.mjs";

const listen = { port: settings.port, host: "127.0.0.1" };
const server = new ApolloServer({ typeDefs, resolvers: await openResolvers() });
if (settings.advantages) {
  await server.start();
  const app = Fastify();
  await app.register(fastifyApollo(server));
  await app.listen(listen);
} else {
  await startStandaloneServer(server, { listen });
}
