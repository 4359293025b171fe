// Applies the theme that the user chose before the page is painted. It is no module, because modules run later.
// "system" (the default) follows the browser; "light" and "dark" are stored in localStorage.
{
  let theme = "system";
  try {
    theme = localStorage.getItem("stepwell-theme") ?? "system";
  } catch {
    // The browser forbids the storage.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
