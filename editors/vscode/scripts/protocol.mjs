// Generates src/protocol.ts from docs/protocol.schema.json.
//
//   node scripts/protocol.mjs           writes the file
//   node scripts/protocol.mjs --check   fails if the file is stale
import { readFileSync, writeFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const source = new URL("../../../docs/protocol.schema.json", import.meta.url);
const target = new URL("../src/protocol.ts", import.meta.url);
const schema = JSON.parse(readFileSync(source, "utf8"));

const nameOf = reference => reference.replace("#/$defs/", "");

// Replaces a reference by the name of its type. Otherwise the library copies the type or drops the description beside
// the reference.
function withNames(node) {
  if (Array.isArray(node)) return node.map(withNames);
  if (node === null || typeof node !== "object") return node;
  const { $ref, ...rest } = node;
  const inner = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, withNames(value)]));
  if ($ref === undefined) return inner;
  const reference = { tsType: nameOf($ref) };
  return inner.properties ? { allOf: [reference, inner] } : { ...inner, ...reference };
}

const definitions = Object.fromEntries(Object.entries(schema.$defs).map(([name, node]) => [name, { ...withNames(node), title: name }]));
const types = await compile({ title: "AllTypes", type: "object", definitions, additionalProperties: false }, "AllTypes", {
  additionalProperties: false,
  bannerComment: "",
  unreachableDefinitions: true,
});

// The library adds a comment to each type about where it found it, which is of no use here.
const own = types
  .replace(/\/\*\*\n \* This interface was referenced by .*\n \* via the .*\n \*\/\n/g, "")
  .replace(/ \*\n \* This interface was referenced by .*\n \* via the .*\n/g, "")
  .replace("export interface AllTypes {}\n", "");

const typeOf = node => (node.$ref ? nameOf(node.$ref) : node.type === "null" ? "null" : "unknown");
const methods = Object.entries(schema.methods).map(([name, { description, params, result }]) => `  /** ${description} */\n  "${name}": { params: ${typeOf(params)}; result: ${typeOf(result)} };`);
const notifications = Object.entries(schema.notifications)
  .filter(([, { from }]) => from === "server")
  .map(([name, { description, params }]) => `  /** ${description} */\n  "${name}": ${typeOf(params)};`);
const failures = Object.entries(schema.failures).map(([kind, { code }]) => `  ${kind}: ${code},`);

const text = `// The protocol's types. Generated from docs/protocol.schema.json by \`npm run protocol\`; do not edit.

/** The version of the protocol that these types describe. */
export const PROTOCOL_VERSION = ${schema.protocolVersion};

/** The methods of the server. */
export interface Methods {
${methods.join("\n")}
}

/** The notifications of the server. */
export interface Notifications {
${notifications.join("\n")}
}

/** The code of each kind of failure. */
export const FAILURES = {
${failures.join("\n")}
} as const;

${own.trim()}
`;

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("src/protocol.ts is stale; run: npm run protocol");
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
