// What every connection of ours asks for, whatever carries it.
import type { Notifications } from "../protocol";

/** We request output in batches, because the screen is not drawn more often. */
export const OUTPUT_BATCHING = { minIntervalMs: 40, maxChunkBytes: 65_536 };

export const NOTIFICATION_METHODS: readonly (keyof Notifications)[] = ["run/output", "run/item", "run/session", "run/permission", "run/state", "run/changed", "run/deleted"];
