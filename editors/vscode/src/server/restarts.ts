// The restart policy: a server that crashed is restarted four times in three minutes; after that, only by the user.

export const MAX_RESTARTS = 4;
export const RESTART_WINDOW_MS = 3 * 60_000;

export class RestartPolicy {
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

  /** Forgets all restarts; called when the user starts the server. */
  reset(): void {
    this.times.length = 0;
  }
}
