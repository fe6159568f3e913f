import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { filterText, groupBy, isFiltering, matches, NO_FILTER, stateFilterOf } from "../../src/runs/filter";
import { makePermissionRequest, makeRun } from "../lib/runs";

describe("the filter of runs", () => {
  const runs = [
    makeRun("1", "running", { provider: "claude", displayTitle: "Fix the parser", cwd: "/home/me/app" }),
    makeRun("2", "failed", { provider: "command", command: ["npm", "test"], cwd: "/home/me/lib" }),
    makeRun("3", "awaitingPermission", { provider: "codex", params: { prompt: "Review the LAST commit" }, permissions: [makePermissionRequest({})], cwd: "/home/me/app" }),
    makeRun("4", "cancelled", { labels: { branch: "loomd/fix-0102" } }),
    makeRun("5", "lost"),
  ];
  const found = (filter: Partial<typeof NO_FILTER>) => runs.filter(run => matches(run, { ...NO_FILTER, ...filter })).map(({ id }) => id);

  it("finds words in names, prompts, commands, folders, agents and branches, in any order and case", () => {
    deepStrictEqual(found({ text: "PARSER fix" }), ["1"]);
    deepStrictEqual(found({ text: "npm" }), ["2"]);
    deepStrictEqual(found({ text: "last review" }), ["3"]);
    deepStrictEqual(found({ text: "me/app" }), ["1", "3"]);
    deepStrictEqual(found({ text: "loomd/fix" }), ["4"]);
    deepStrictEqual(found({ text: "no such words" }), []);
    deepStrictEqual(found({ text: "  " }).length, runs.length);
  });

  it("takes several values of one part as alternatives, and several parts together", () => {
    deepStrictEqual(found({ states: ["failed", "canceled"] }), ["2", "4", "5"]);
    deepStrictEqual(found({ folders: ["/home/me/app"], providers: ["codex", "command"] }), ["3"]);
    deepStrictEqual(found({ states: ["waiting"], text: "parser" }), []);
    deepStrictEqual(runs.map(stateFilterOf), ["active", "failed", "waiting", "canceled", "failed"]);
  });

  it("is told in words", () => {
    strictEqual(filterText({ text: " parser ", states: ["failed", "active"], providers: ["claude"], folders: ["/home/me/app"] }), '"parser", Failed or Running, claude, app');
    ok(!isFiltering(NO_FILTER) && isFiltering({ ...NO_FILTER, providers: ["claude"] }));
  });
});

describe("groups by folder or day", () => {
  const at = (day: number, hour: number) => new Date(2026, 0, day, hour).getTime();

  it("have the newest run and the group with the newest run first", () => {
    const runs = [makeRun("1", "succeeded", { cwd: "/a/app" }), makeRun("2", "succeeded", { cwd: "/b/lib" }), makeRun("3", "running", { cwd: "/a/app" })];
    deepStrictEqual(groupBy("folder", runs).map(({ key, label, runs }) => [key, label, runs.map(({ id }) => id)]), [["/a/app", "app", ["3", "1"]], ["/b/lib", "lib", ["2"]]]);
  });

  it("have the names of days", () => {
    const runs = [makeRun("1", "succeeded", { createdAt: at(1, 12) }), makeRun("2", "succeeded", { createdAt: at(4, 23) }), makeRun("3", "succeeded", { createdAt: at(5, 0) })];
    deepStrictEqual(groupBy("day", runs, at(5, 9)).map(({ label, runs }) => [label, runs.length]), [["Today", 1], ["Yesterday", 1], ["2026-01-01", 1]]);
  });
});
