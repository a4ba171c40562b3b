// Makes the single node a replica set and gives each process a user of its own. Safe to run again.
const admin = db.getSiblingDB("admin");
admin.auth("root", process.env.MONGO_ROOT_PASSWORD);

try {
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
} catch (error) {
  if (error.codeName !== "AlreadyInitialized") throw error;
}
while (!db.hello().isWritablePrimary) sleep(200);

const media = db.getSiblingDB("media");
const passwords = { api: process.env.MONGO_API_PASSWORD, worker: process.env.MONGO_WORKER_PASSWORD };
for (const [user, pwd] of Object.entries(passwords)) {
  const account = { pwd, roles: [{ role: "readWrite", db: "media" }] };
  if (media.getUser(user)) media.updateUser(user, account);
  else media.createUser({ user, ...account });
}
