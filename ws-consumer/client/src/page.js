// The page's state: online or not, visible or not, frozen in the back-forward cache or gone.

/** Watches the page, and calls `on.online()` and so forth. Returns a function that ends it. */
export function watchPage({ window, document }, on) {
  const listeners = [
    [window, "online", on.online],
    [window, "offline", on.offline],
    [window, "pagehide", (event) => (event.persisted ? on.frozen() : on.gone())],
    [window, "pageshow", (event) => event.persisted && on.thawed()],
    [document, "visibilitychange", () => document.visibilityState === "visible" && on.visible()],
  ];
  for (const [target, name, listener] of listeners) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of listeners) target?.removeEventListener?.(name, listener);
  };
}
