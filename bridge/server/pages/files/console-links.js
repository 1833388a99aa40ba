// The address of a view: `linkTo("live", "CA1")` is `#/live/CA1`.
export const linkTo = (path, ...rest) => `#/${[path, ...rest].map(encodeURIComponent).join("/")}`;
