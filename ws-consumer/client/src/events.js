// What a channel tells its listeners.

/** An event whose fields stand beside its `type`. */
export class ChannelEvent extends Event {
  constructor(type, fields) {
    super(type);
    Object.assign(this, fields);
  }
}

/** A message: a text, or bytes as an ArrayBuffer, in `data`. */
export class ChannelMessageEvent extends ChannelEvent {
  constructor(data) {
    super("message", { data });
  }

  /** The message as JSON. Throws SyntaxError for other texts, TypeError for bytes. */
  json() {
    if (typeof this.data !== "string") throw new TypeError("a binary message is no JSON");
    return JSON.parse(this.data);
  }
}
