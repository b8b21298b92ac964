// What both pages show: money, the time left, and the user.

export const euros = (amount) => `€ ${amount.toLocaleString("en")}`;

export function clock(seconds) {
  const hours = Math.floor(seconds / 3600);
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, "0"));
  return (hours > 0 ? [hours, ...parts] : parts).join(":");
}

/** Shows the user's name and a logout, or a link to the login. Resolves to the name, or null. */
export async function showUser() {
  const name = await (await fetch("/api/me")).json();
  document.querySelector("#user").textContent = name ?? "";
  document.querySelector("#logout").hidden = name === null;
  document.querySelector("#login").hidden = name !== null;
  return name;
}
