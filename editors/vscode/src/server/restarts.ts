// When a server is started again by itself. One that crashed is, four times in three minutes. A connection to a host
// that broke is made again after pauses that grow; one that never stood is not, because each try may ask for a password
// somewhere.

export const MAX_RESTARTS = 4;
export const RESTART_WINDOW_MS = 3 * 60_000;

export interface Restarts {
  /** Milliseconds until the next start; `undefined`: only the user starts it again. `stoodMs`: how long it ran. */
  pause(stoodMs: number | undefined): number | undefined;
  /** Called when the user starts the server. */
  reset(): void;
  /** What is said when only the user starts it again. */
  readonly givenUp: string;
}

export class RestartPolicy implements Restarts {
  readonly givenUp = ` It crashed ${MAX_RESTARTS + 1} times in the last ${RESTART_WINDOW_MS / 60_000} minutes and will not be restarted. Runs are not affected.`;
  private readonly times: number[] = [];

  constructor(private readonly now: () => number = Date.now) {}

  /** Returns whether one more restart is allowed now, and counts it if so. */
  allow(): boolean {
    const now = this.now();
    while (this.times.length > 0 && now - this.times[0]! >= RESTART_WINDOW_MS) this.times.shift();
    if (this.times.length >= MAX_RESTARTS) return false;
    this.times.push(now);
    return true;
  }

  pause(): number | undefined {
    return this.allow() ? 0 : undefined;
  }

  /** Forgets all restarts. */
  reset(): void {
    this.times.length = 0;
  }
}

export const MAX_PAUSE_MS = 60_000;

export class Reconnects implements Restarts {
  readonly givenUp = "";
  private hasStood = false;
  /** Connections that broke one after the other, none of which stood for long. */
  private breaks = 0;

  constructor(private readonly firstPauseMs = 1_000) {}

  pause(stoodMs: number | undefined): number | undefined {
    this.hasStood ||= stoodMs !== undefined;
    if (!this.hasStood) return undefined;
    this.breaks = stoodMs !== undefined && stoodMs > MAX_PAUSE_MS ? 1 : this.breaks + 1;
    return Math.min(this.firstPauseMs * 2 ** (this.breaks - 1), MAX_PAUSE_MS);
  }

  reset(): void {
    this.breaks = 0;
  }
}
