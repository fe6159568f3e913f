// Bundles the extension and its pages into dist/, and writes the licenses beside them.
//
//   node scripts/build.mjs            once, minified
//   node scripts/build.mjs --watch    again after every change
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { context } from "esbuild";
import { notices, packagesOf, SEPARATOR } from "./notices.mjs";

process.chdir(new URL("..", import.meta.url).pathname);
const watch = process.argv.includes("--watch");
rmSync("dist", { recursive: true, force: true });
mkdirSync("dist");
for (const file of ["codicon.css", "codicon.ttf"]) cpSync(`node_modules/@vscode/codicons/dist/${file}`, `dist/${file}`);
cpSync("src/webview/transcript.css", "dist/transcript.css");

const common = { bundle: true, minify: !watch, sourcemap: watch, legalComments: "none", metafile: true, logLevel: "warning" };
const bundles = [
  { ...common, entryPoints: ["src/main.ts"], outfile: "dist/main.js", platform: "node", target: "node20", format: "cjs", external: ["vscode"] },
  ...Object.entries({ transcript: "main", form: "form" }).map(([name, source]) => ({ ...common, entryPoints: [`src/webview/${source}.ts`], outfile: `dist/${name}.js`, platform: "browser", target: "chrome130", format: "iife" })),
];
const packages = new Set(["@vscode/codicons"]);
for (const bundle of bundles) {
  const bundler = await context(bundle);
  if (watch) {
    await bundler.watch();
    continue;
  }
  const { metafile } = await bundler.rebuild();
  for (const name of packagesOf(metafile)) packages.add(name);
  await bundler.dispose();
}

const read = path => readFileSync(path, "utf8").trim();
writeFileSync("LICENSE.txt", `loomd is licensed under the MIT license or the Apache License 2.0, as you choose.${SEPARATOR}${read("../../LICENSE-MIT")}${SEPARATOR}${read("../../LICENSE-APACHE")}\n`);
writeFileSync("dist/THIRD-PARTY-NOTICES.txt", notices("Third-party software in this extension, with its licenses.", packages));
