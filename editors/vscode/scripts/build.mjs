// Bundles the extension and the page of its transcript into dist/, and puts the licences beside them.
//
//   node scripts/build.mjs            once, minified
//   node scripts/build.mjs --watch    again with every change
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { context } from "esbuild";

process.chdir(new URL("..", import.meta.url).pathname);
const watch = process.argv.includes("--watch");
rmSync("dist", { recursive: true, force: true });
mkdirSync("dist");
for (const file of ["codicon.css", "codicon.ttf"]) cpSync(`node_modules/@vscode/codicons/dist/${file}`, `dist/${file}`);
cpSync("src/webview/transcript.css", "dist/transcript.css");

const common = { bundle: true, minify: !watch, sourcemap: watch, legalComments: "none", metafile: true, logLevel: "warning" };
const bundles = [
  { ...common, entryPoints: ["src/main.ts"], outfile: "dist/main.js", platform: "node", target: "node20", format: "cjs", external: ["vscode"] },
  { ...common, entryPoints: ["src/webview/main.ts"], outfile: "dist/transcript.js", platform: "browser", target: "chrome130", format: "iife" },
];
const packages = new Set(["@vscode/codicons"]);
for (const bundle of bundles) {
  const made = await context(bundle);
  if (watch) {
    await made.watch();
    continue;
  }
  const { metafile } = await made.rebuild();
  for (const input of Object.keys(metafile.inputs)) {
    const name = /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
    if (name) packages.add(name);
  }
  await made.dispose();
}

const read = path => readFileSync(path, "utf8").trim();
const rule = `\n\n${"-".repeat(80)}\n\n`;
writeFileSync("LICENSE.txt", `loomd is licensed under the MIT license or the Apache License 2.0, as you choose.${rule}${read("../../LICENSE-MIT")}${rule}${read("../../LICENSE-APACHE")}\n`);
const notices = [...packages].sort().map(name => {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(read(`${folder}/package.json`));
  const texts = readdirSync(folder).filter(file => /^(licen[cs]e|notice)/i.test(file)).map(file => read(`${folder}/${file}`));
  return [`${name} ${version} (${license})`, ...texts].join("\n\n");
});
writeFileSync("dist/THIRD-PARTY-NOTICES.txt", `${["Other people's work in this extension, with its terms.", ...notices].join(rule)}\n`);
