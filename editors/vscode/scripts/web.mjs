// Bundles the page of `loomd web` into src/web/page/ of the repository, which the server is built with.
//
//   node scripts/web.mjs           writes the files
//   node scripts/web.mjs --check   fails if one of them is stale
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { build, transform } from "esbuild";
import { notices, packagesOf } from "./notices.mjs";

process.chdir(new URL("..", import.meta.url).pathname);
const target = "../../src/web/page";
const codicons = "node_modules/@vscode/codicons/dist";

const { outputFiles, metafile } = await build({
  bundle: true,
  minify: true,
  legalComments: "none",
  metafile: true,
  write: false,
  logLevel: "warning",
  entryPoints: ["src/web/main.ts"],
  platform: "browser",
  target: ["chrome123", "firefox128", "safari17.5"],
  format: "iife",
  // Both have the same interface; the one for browsers starts no process.
  alias: { "vscode-jsonrpc/node": "vscode-jsonrpc/browser" },
});
const icons = readFileSync(`${codicons}/codicon.css`, "utf8").replace(/url\("[^"]*"\)/, 'url("/codicon.ttf")');
const styles = [icons, ...["src/webview/transcript.css", "src/web/page.css"].map(path => readFileSync(path, "utf8"))].join("\n");
const { code } = await transform(styles, { loader: "css", minify: true, target: ["chrome123", "firefox128", "safari17.5"] });

const files = {
  "index.html": readFileSync("src/web/index.html"),
  "page.js": Buffer.from(outputFiles[0].contents),
  "page.css": Buffer.from(code),
  "codicon.ttf": readFileSync(`${codicons}/codicon.ttf`),
  "icon.svg": readFileSync("media/loomd.svg"),
  "notices.txt": Buffer.from(notices("Third-party software in this page, with its licenses.", ["@vscode/codicons", ...packagesOf(metafile)])),
};

mkdirSync(target, { recursive: true });
const read = path => {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.of();
  }
};
const stale = Object.keys(files).filter(name => !read(`${target}/${name}`).equals(files[name]));
if (!process.argv.includes("--check")) for (const name of stale) writeFileSync(`${target}/${name}`, files[name]);
else if (stale.length > 0) {
  console.error(`src/web/page is stale (${stale.join(", ")}); run: npm run web`);
  process.exit(1);
}
