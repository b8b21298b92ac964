// The body of a function that returns the texts of a page, each with its contrast by WCAG 2.

function channels(color) {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { rgb: [red, green, blue], alpha };
}

function luminance(rgb) {
  const [red, green, blue] = rgb.map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// No background of these pages is translucent, and the root's is the page's.
function behind(element) {
  for (let at = element; at !== null; at = at.parentElement) {
    const { rgb, alpha } = channels(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return rgb;
  }
  return [255, 255, 255];
}

function isShown(element) {
  const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
  const { width, height } = element.getBoundingClientRect();
  return (hasText || element.matches("input")) && width > 0 && height > 0;
}

return [...document.body.querySelectorAll("*")].filter(isShown).map((element) => {
  const text = channels(getComputedStyle(element).color).rgb;
  const [light, dark] = [luminance(text), luminance(behind(element))].sort((a, b) => b - a);
  return { text: element.innerText || element.value || element.id, contrast: (light + 0.05) / (dark + 0.05) };
});
