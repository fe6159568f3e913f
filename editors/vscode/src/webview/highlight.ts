// Colors of code. The parts of a text get classes by their meaning; transcript.css gives these the colors of the theme.
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import lua from "highlight.js/lib/languages/lua";
import markdown from "highlight.js/lib/languages/markdown";
import python from "highlight.js/lib/languages/python";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";

for (const [name, language] of Object.entries({ bash, c, cpp, csharp, css, go, ini, java, javascript, json, lua, markdown, python, ruby, rust, sql, typescript, xml, yaml })) hljs.registerLanguage(name, language);

/** Longer code has no colors: the time to find them grows with it. */
const MAX_CHARS = 30_000;

/** The language of a file by its name; "" if it has none that is known. */
export function languageOf(path: string): string {
  const name = path.split(/[/\\]/).at(-1) ?? "";
  const extension = name.includes(".") ? name.split(".").at(-1)!.toLowerCase() : "";
  return hljs.getLanguage(extension) ? extension : "";
}

/** The code as nodes, with elements for the parts that have a color. */
export function highlight(code: string, language: string): Node[] {
  if (code.length > MAX_CHARS || !hljs.getLanguage(language)) return [document.createTextNode(code)];
  const box = document.createElement("span");
  // highlight.js escapes the code; what it returns has spans with classes and nothing else.
  box.innerHTML = hljs.highlight(code, { language, ignoreIllegals: true }).value;
  return [...box.childNodes];
}
