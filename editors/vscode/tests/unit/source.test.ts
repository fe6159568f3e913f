// Rules for the source as a whole.
import { deepStrictEqual } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

const SOURCE = join(process.cwd(), "src");
/** The generated file has no limit of lines. */
const GENERATED = "protocol.ts";
const MAX_LINES = 400;

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter(name => name.endsWith(".ts"));
const text = (name: string) => readFileSync(join(SOURCE, name), "utf8");

describe("the source", () => {
  it("imports nothing in a circle, not even types", () => {
    const imports = new Map(files.map(name => [name, [...text(name).matchAll(/from "(\.[^"]+)"/g)].map(([, path]) => relative(SOURCE, normalize(join(SOURCE, dirname(name), `${path}.ts`))))]));
    const visited = new Set<string>();
    const circles: string[] = [];
    const walk = (name: string, path: readonly string[]): void => {
      if (path.includes(name)) circles.push([...path.slice(path.indexOf(name)), name].join(" > "));
      if (path.includes(name) || visited.has(name)) return;
      for (const next of imports.get(name) ?? []) walk(next, [...path, name]);
      visited.add(name);
    };
    for (const name of files) walk(name, []);
    deepStrictEqual(circles, []);
  });

  it("folds nothing: it draws the items that the server made", () => {
    deepStrictEqual(files.filter(name => name !== GENERATED && /sessionUpdate|["'`]loomd\/(?!s)/.test(text(name))), []);
  });

  it("shows messages by one function, which escapes them", () => {
    deepStrictEqual(files.filter(name => /\.show(Information|Warning|Error)Message/.test(text(name))), [join("views", "messages.ts")]);
  });

  it("suggests key bindings with commands and context keys that there are", () => {
    const { contributes } = JSON.parse(readFileSync("package.json", "utf8")) as { contributes: { commands: { command: string }[]; keybindings?: unknown[] } };
    const known = new Set(contributes.commands.map(({ command }) => command));
    const source = files.map(text).join("\n");
    const isSet = (name: string) => source.includes(`"${name}"`) || (source.includes("`loomd.${name}`, value") && new RegExp(`\\b${name.slice("loomd.".length)}: `).test(source));
    const readme = readFileSync("README.md", "utf8");
    const bindings = [...readme.matchAll(/^\{ "key": .*"command": "([^"]+)"(?:, "when": "([^"]+)")? \}/gm)];
    deepStrictEqual(bindings.length > 5, true);
    deepStrictEqual(bindings.filter(([, command]) => !known.has(command!)).map(([line]) => line), []);
    const keys = new Set([...bindings.flatMap(([, , when]) => [...(when ?? "").matchAll(/(?<![=\s]\s)loomd\.\w+/g)].map(([key]) => key)), ...[...readme.slice(readme.indexOf("For `when`")).split("\n\n")[0]!.matchAll(/loomd\.\w+/g)].map(([key]) => key)]);
    deepStrictEqual([...keys].filter(key => key !== "loomd.runs" && !isSet(key)), []);
    // None is bound without being asked for.
    deepStrictEqual(contributes.keybindings, undefined);
  });

  it("has files of limited length, each with a first line about its purpose", () => {
    deepStrictEqual(files.filter(name => name !== GENERATED && text(name).split("\n").length > MAX_LINES), []);
    deepStrictEqual(files.filter(name => !text(name).startsWith("// ")), []);
  });
});
