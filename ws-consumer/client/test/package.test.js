// The package as others install it: found by what reads `exports`, and by what knows `main`, `module` and `types` only.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const client = fileURLToPath(new URL("..", import.meta.url));
const run = (cwd, ...argv) => promisify(execFile)(process.execPath, argv, { cwd, timeout: 20_000 });

let scratch;
let installed;
let manifest;

// What `npm pack` does: its script, then the files that are named. Without npm, which not every Node comes with.
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "channels-client-"));
  const source = join(scratch, "source");
  for (const name of ["package.json", "pack.js", "channels.js", "channels.d.ts", "src"]) {
    await cp(join(client, name), join(source, name), { recursive: true });
  }
  manifest = JSON.parse(await readFile(join(source, "package.json"), "utf8"));
  assert.equal(manifest.scripts.prepack, "node pack.js");
  await run(source, "pack.js");
  installed = join(scratch, "node_modules", "channels-client");
  for (const name of ["package.json", ...manifest.files]) await cp(join(source, name), join(installed, name), { recursive: true });
});

after(() => rm(scratch, { recursive: true, force: true }));

const NAMES = ["Channel", "ChannelError", "ChannelEvent", "ChannelMessageEvent", "DEFAULTS", "connect"];
const SAY = "console.log(JSON.stringify([Object.keys(client).filter((name) => name !== 'default' && name !== 'module.exports').sort(), client.DEFAULTS.timeout]))";

async function says(name, text) {
  await writeFile(join(scratch, name), text);
  const { stdout } = await run(scratch, name);
  assert.deepEqual(JSON.parse(stdout), [NAMES, 10_000]);
}

test("modules import it, scripts require it", async () => {
  await says("import.mjs", `import * as client from "channels-client"; ${SAY}`);
  await says("require.cjs", `const client = require("channels-client"); ${SAY}`);
  await says("import-of-main.mjs", `import * as client from ${JSON.stringify(`./node_modules/channels-client/${manifest.main}`)}; ${SAY}`);
});

test("tools without exports use main, module and types", async () => {
  const legacy = { ...manifest, exports: undefined };
  await writeFile(join(installed, "package.json"), JSON.stringify(legacy));
  try {
    await says("old-require.cjs", `const client = require("channels-client"); ${SAY}`);
  } finally {
    await writeFile(join(installed, "package.json"), JSON.stringify(manifest));
  }
  const module = await import(join(installed, manifest.module));
  assert.deepEqual(Object.keys(module).sort(), NAMES);
  const types = await readFile(join(installed, manifest.types), "utf8");
  for (const name of NAMES) assert.match(types, new RegExp(`^export (declare )?(class|interface|type|const|function) ${name}\\b`, "m"));
});

test("all named files are packed", async () => {
  const conditions = Object.values(manifest.exports["."]).flatMap((of) => (typeof of === "string" ? of : Object.values(of)));
  for (const path of [manifest.main, manifest.module, manifest.types, ...conditions]) await readFile(join(installed, path));
});

test("the required package works like the imported one", async () => {
  const script = `
    const { connect, ChannelError } = require("channels-client");
    const channel = connect("nowhere", { environment: { location: undefined } });
    channel.request(1).catch((error) => console.log(error instanceof ChannelError, error.code));
    channel.addEventListener("close", ({ reason }) => console.log(reason));
  `;
  await writeFile(join(scratch, "speak.cjs"), script);
  const { stdout } = await run(scratch, "speak.cjs");
  assert.match(stdout, /^"nowhere" is no address of a channel: .*\ntrue closed\n$/);
});
