// mercurius on Fastify, which compiles an operation once it has been asked for.

import Fastify from "fastify";
import mercurius from "mercurius";
import { openResolvers, settings, typeDefs } from "./media.mjs";

const app = Fastify();
await app.register(mercurius, { schema: typeDefs, resolvers: await openResolvers(), jit: 1 });
await app.listen({ port: settings.port, host: "127.0.0.1" });
