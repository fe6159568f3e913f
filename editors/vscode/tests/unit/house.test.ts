// What holds for the source as a whole.
import { deepStrictEqual } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

const SOURCE = join(process.cwd(), "src");
/** What is made by a program may be as long as it likes. */
const MADE = "protocol.ts";
const LONGEST = 400;

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter(name => name.endsWith(".ts"));
const text = (name: string) => readFileSync(join(SOURCE, name), "utf8");

describe("the source", () => {
  it("imports nothing in a circle, not even types", () => {
    const imports = new Map(files.map(name => [name, [...text(name).matchAll(/from "(\.[^"]+)"/g)].map(([, path]) => relative(SOURCE, normalize(join(SOURCE, dirname(name), `${path}.ts`))))]));
    const done = new Set<string>();
    const circles: string[] = [];
    const walk = (name: string, way: readonly string[]): void => {
      if (way.includes(name)) circles.push([...way.slice(way.indexOf(name)), name].join(" > "));
      if (way.includes(name) || done.has(name)) return;
      for (const next of imports.get(name) ?? []) walk(next, [...way, name]);
      done.add(name);
    };
    for (const name of files) walk(name, []);
    deepStrictEqual(circles, []);
  });

  it("has files that can be read at one go, each with a first line that says what it is for", () => {
    deepStrictEqual(files.filter(name => name !== MADE && text(name).split("\n").length > LONGEST), []);
    deepStrictEqual(files.filter(name => !text(name).startsWith("// ")), []);
  });
});
