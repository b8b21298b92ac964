// Before `npm pack`: the client as one CommonJS file, for `require` and for bundlers that know no ES modules.
//
// It supports the few forms of import and export that the client's modules use, and fails on others.

import { copyFile, readFile, writeFile } from "node:fs/promises";

const here = new URL(".", import.meta.url);
const IMPORT = /^import (\{[^}]*\}) from "([^"]+)";$/gm;
const DECLARED = /^export (?=(?:async )?(?:class|function|const) (\w+))/gm;
const LISTED = /^export \{([^}]*)\};$/gm;

/** Collects a module after those that it imports, each once, as the bodies of functions. */
async function collect(url, done = new Map()) {
  if (done.has(url.href)) return done;
  const text = await readFile(url, "utf8");
  const needed = [...text.matchAll(IMPORT)].map(([, , path]) => new URL(path, url));
  for (const path of needed) await collect(path, done);
  const names = [...text.matchAll(DECLARED)].map(([, name]) => name);
  const listed = [...text.matchAll(LISTED)].flatMap(([, list]) => list.split(",").map((name) => name.trim()));
  const body = text
    .replace(IMPORT, (_, list, path) => `const ${list} = ${done.get(new URL(path, url).href).name};`)
    .replace(DECLARED, "")
    .replace(LISTED, "");
  const odd = /^(import|export)\b.*$/m.exec(body);
  if (odd) throw new Error(`${url.pathname}: ${odd[0]}`);
  const name = `module${done.size}`;
  const exported = [...names, ...listed].join(", ");
  return done.set(url.href, { name, exported, text: `const ${name} = (() => {\n${body}\nreturn { ${exported} };\n})();\n` });
}

const modules = [...(await collect(new URL("channels.js", here))).values()];
const { name, exported } = modules.at(-1);
// One statement per name: Node finds the names this way when a module imports the file.
const names = exported.split(", ").map((one) => `exports.${one} = ${name}.${one};`);
const parts = ['"use strict";\n', ...modules.map(({ text }) => text), ...names];
await writeFile(new URL("channels.cjs", here), `${parts.join("\n")}\n`);
await copyFile(new URL("channels.d.ts", here), new URL("channels.d.cts", here));
