// A client, a network and a server in one place, with a clock of their own.

import { connect } from "../../channels.js";
import { Clock, chance } from "./clock.js";
import { FakeStorage, Network } from "./network.js";
import { MockServer } from "./server.js";

const EVENTS = ["open", "message", "close", "reconnecting", "resumed", "gap", "statechange"];

export class World {
  constructor({ seed = 1, server = {} } = {}) {
    this.clock = new Clock();
    this.random = chance(seed);
    this.server = new MockServer(this.clock, server);
    this.network = new Network(this.clock, this.server, this.random);
    this.window = new EventTarget();
    this.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
    this.navigator = { onLine: true };
    this.sessionStorage = new FakeStorage();
  }

  /** A page's channel; what it tells is in `log`, the messages in `messages`. */
  connect(options = {}, url = "/ws/chat/lobby/") {
    const { clock, network, window, document, navigator, sessionStorage, random } = this;
    const { now, setTimeout, clearTimeout } = clock;
    const environment = { WebSocket: network.WebSocket, fetch: network.fetch, now, setTimeout, clearTimeout, random };
    Object.assign(environment, { window, document, navigator, sessionStorage, location: { href: "https://host/page" } });
    const channel = connect(url, { ...options, environment: { ...environment, ...options.environment } });
    channel.log = [];
    channel.messages = [];
    for (const name of EVENTS) channel.addEventListener(name, (event) => channel.log.push(event));
    channel.addEventListener("message", ({ data }) => channel.messages.push(data));
    channel.told = (name) => channel.log.filter(({ type }) => type === name);
    return channel;
  }

  /** Until it is so; fails when it is not within an hour. */
  async until(condition, what = condition.toString()) {
    await this.clock.advance(3_600_000, condition);
    if (!condition()) throw new Error(`never: ${what}`);
  }

  async opened(channel) {
    await this.until(() => channel.state === "open", "open");
  }

  tell(target, type, fields = {}) {
    target.dispatchEvent(Object.assign(new Event(type), fields));
  }
}
