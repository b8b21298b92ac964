// What both pages show: money, the time left, and the user.

export const euros = (amount) => `€ ${amount.toLocaleString("en")}`;

export function clock(seconds) {
  const parts = [Math.floor(seconds / 60), seconds % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** Shows the user's name and a logout, or a link to the login. Resolves to the name, or null. */
export async function showUser() {
  const name = await (await fetch("/api/me")).json();
  document.querySelector("#user").textContent = name ?? "";
  document.querySelector("#logout").hidden = name === null;
  document.querySelector("#login").hidden = name !== null;
  return name;
}
