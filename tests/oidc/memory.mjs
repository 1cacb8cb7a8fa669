/**
 * Storage in memory, one for each model. The adapter that comes with oidc-provider
 * forgets entries when there are more than a thousand, live tokens included.
 */
export class Memory {
  #entries = new Map();

  async find(id) {
    return this.#entries.get(id)?.payload;
  }

  async findByUid(uid) {
    return this.#findBy('uid', uid);
  }

  async findByUserCode(userCode) {
    return this.#findBy('userCode', userCode);
  }

  /** What has no end stays. */
  async upsert(id, payload, expiresInS) {
    this.#forget(id);
    const longestTimerMs = 2 ** 31 - 1;
    const keepMs = Math.min(expiresInS * 1000, longestTimerMs);
    const timer = expiresInS && setTimeout(() => this.#entries.delete(id), keepMs).unref();
    this.#entries.set(id, { payload, timer });
  }

  async consume(id) {
    const payload = await this.find(id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.#forget(id);
  }

  /** Everything that was given under a grant. */
  async revokeByGrantId(grantId) {
    for (const [id, { payload }] of this.#entries) {
      if (payload.grantId === grantId) this.#forget(id);
    }
  }

  #findBy(name, value) {
    return [...this.#entries.values()].find(({ payload }) => payload[name] === value)?.payload;
  }

  /** The timer goes too: it would end a later entry of the same id. */
  #forget(id) {
    clearTimeout(this.#entries.get(id)?.timer);
    this.#entries.delete(id);
  }
}
