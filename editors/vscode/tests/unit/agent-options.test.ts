import { deepStrictEqual, strictEqual } from "node:assert";
import { agentOptions, currentOptions } from "../../src/runs/agent-options";

describe("an agent's options", () => {
  const effort = { id: "effort", name: "Effort", category: "thought_level", currentValue: "high", options: [{ group: "g", options: [{ value: "low" }] }, { value: "high", name: "High" }, 7] };
  const modes = [{ id: "plan", name: "Plan" }];

  it("have their values, also those in groups and those of a switch", () => {
    const options = agentOptions({ agent: { configOptions: [effort, { id: "m", category: "model" }, { id: "fast", type: "boolean", currentValue: true }, { name: "nameless" }] } });
    deepStrictEqual(options, [
      { id: "effort", name: "Effort", isModel: false, values: [{ id: "low", name: "low" }, { id: "high", name: "High" }], current: "high" },
      { id: "m", name: "m", isModel: true, values: [] },
      { id: "fast", name: "fast", isModel: false, values: [{ id: "true", name: "On" }, { id: "false", name: "Off" }], current: "true" },
    ]);
  });

  it("have the modes among them, once", () => {
    deepStrictEqual(agentOptions({ agent: { modes, modeId: "plan" } }), [{ id: "mode", name: "Mode", isModel: false, values: modes, current: "plan" }]);
    strictEqual(agentOptions({ agent: { modes, configOptions: [{ id: "approval", category: "mode" }] } }).length, 1);
    deepStrictEqual(agentOptions({}), []);
  });

  it("are told in a few words", () => {
    strictEqual(currentOptions({ agent: { modes, modeId: "plan", configOptions: [effort, { id: "fast", name: "Fast", type: "boolean", currentValue: true }, { id: "slow", type: "boolean", currentValue: false }] } }), "Plan · High · Fast");
  });
});
