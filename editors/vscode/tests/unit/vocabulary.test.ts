// The vocabulary of the extension: names and phrases that were replaced do not come back.
import { deepStrictEqual } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** This file names what it forbids. */
const OWN_NAME = "vocabulary.test.ts";

/** Names that no identifier has: each stands for a name of the field, which is on the right. */
const FORBIDDEN_NAMES: Readonly<Record<string, string>> = {
  Ear: "Listener",
  hear: "handle",
  Drawer: "Renderer",
  Said: "message, notification",
  Told: "notification",
  Heard: "ServerNotification",
  Asked: "PermissionRequest",
  Wish: "action",
  Wishes: "MarkdownActions",
  Trouble: "Failure",
  Pen: "renderer",
  Paper: "renderer",
  Painter: "Renderer",
  Keeper: "store",
  Strand: "stream",
  Sight: "match",
  Deed: "action",
  Birth: "start",
  Born: "started run",
  LOOK: "a constant that says what it bounds",
  MOST: "a constant that says what it bounds",
  PATIENCE: "a constant that says what it bounds",
  FAREWELL: "a constant that says what it bounds",
};

/** Verbs that no variable, function, method or property is named by. */
const FORBIDDEN_VERBS = ["said", "told", "heard", "asked", "tell", "waved"];

/** A union's tag is `kind`. */
const OLD_TAG = /\bis\??: ["'A-Z]|\.is\b|\["is"\]|\{ is[ ,}:]|, is \}/;

/** Phrases of earlier versions, split so that this file does not contain them. */
const OLD_PHRASES = [
  ["May it", "do this"],
  ["May it", "run this"],
  ["May it", "change this"],
  ["A word", "to the agent"],
  ["Say what", "is next"],
  ["ready", "for more"],
  ["Waved", "away"],
  ["Always Allow", "This"],
  ["Take Over", "in Terminal"],
  ["Review Next", "Approval"],
  ["waiting", "for you"],
].map(words => words.join(" "));

const list = (folder: string, endings: RegExp): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter(name => endings.test(name) && !/(^|[/\\])out[/\\]/.test(name))
    .map(name => join(folder, name));

const withoutComments = (text: string): string => text.replace(/\/\*[^]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");

/** Each line of the files in which `find` finds something, as "file: what". */
function findings(files: readonly string[], find: (line: string) => string[], prepare: (text: string) => string = text => text): string[] {
  return files.flatMap(file => prepare(readFileSync(file, "utf8")).split("\n").flatMap(line => find(line).map(what => `${file}: ${what}`)));
}

describe("the vocabulary", () => {
  const code = [...list("src", /\.ts$/), ...list("tests", /\.(ts|mjs)$|opencode$/), ...list("scripts", /\.mjs$/)].filter(file => !file.endsWith(OWN_NAME) && file !== join("src", "protocol.ts"));
  const texts = [...list("src", /\.(ts|css)$/), ...list("tests", /\.(ts|mjs)$|opencode$|run$|setup$/), ...list("scripts", /\.mjs$/), ...list("media", /\.svg$/), "package.json", "README.md", "CHANGELOG.md"];

  it("has no replaced names", () => {
    const names = new RegExp(`\\b(?:${Object.keys(FORBIDDEN_NAMES).join("|")})\\b`, "g");
    const report = (name: string) => `${name} (use ${FORBIDDEN_NAMES[name]})`;
    deepStrictEqual(findings(code, line => [...line.matchAll(names)].map(([name]) => report(name)), withoutComments), []);
  });

  it("has no variables, functions or properties named said, told or asked", () => {
    const verbs = FORBIDDEN_VERBS.join("|");
    const declared = new RegExp(`\\b(?:const|let|function|class|readonly|private|async|get)\\s+(?:${verbs})\\b|\\.(?:${verbs})\\b|\\b(?:${verbs})(?:\\(|: |\\?: | =>)`, "g");
    deepStrictEqual(findings(code, line => [...line.matchAll(declared)].map(([name]) => name), withoutComments), []);
  });

  it("tags unions with kind", () => {
    deepStrictEqual(findings(code, line => (OLD_TAG.test(line) ? [line.trim()] : []), withoutComments), []);
  });

  it("has no phrases of earlier versions", () => {
    deepStrictEqual(findings(texts, line => OLD_PHRASES.filter(phrase => line.includes(phrase))), []);
  });
});
