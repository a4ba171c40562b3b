// Without a network GraphiQL's own scripts do not arrive; our explorer needs none.
if (!window.GraphiQL || !window.React || !window.GraphiQLPluginExplorer || !window.Cookies) {
  location.replace("/demo/explorer");
}
