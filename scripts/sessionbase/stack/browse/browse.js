// Swagger UI for this stack's PostgREST. PostgREST's description depends on the token, so it is read
// again whenever the token changes. amendment.json adds what PostgREST does not describe: the meaning
// of a function's parameters, and which verbs no role may use.
let token = "";
let known = { verbs: {}, arguments: {}, shared: {} };

function amended(description) {
  for (const [path, operations] of Object.entries(description.paths ?? {})) {
    const meanings = known.arguments[path] ?? {};
    for (const [verb, operation] of Object.entries(operations)) {
      if (known.verbs[path] && !known.verbs[path].includes(verb)) delete operations[verb];
      for (const parameter of operation.parameters ?? []) {
        parameter.description ??= meanings[parameter.name];
        if (parameter.in !== "body") continue;
        parameter.description ??= "The function's parameters, by name";
        for (const [name, property] of Object.entries(parameter.schema.properties ?? {}))
          property.description ??= meanings[name];
      }
    }
  }
  for (const [key, parameter] of Object.entries(description.parameters ?? {})) {
    if (parameter.in === "body") parameter.description = "The row";
    parameter.description = known.shared[key] ?? parameter.description;
  }
  return description;
}

function withToken(request) {
  if (token) request.headers.Authorization = token;
  return request;
}

const readAgain = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (original) => (description) => original(amended(description)),
      },
    },
    auth: {
      wrapActions: {
        authorize: (original, system) => (payload) => {
          const given = payload.JWT.value.trim();
          token = /^bearer /i.test(given) ? given : `Bearer ${given}`;
          const result = original(payload);
          system.specActions.download();
          return result;
        },
        logout: (original, system) => (payload) => {
          token = "";
          const result = original(payload);
          system.specActions.download();
          return result;
        },
      },
    },
  },
});

fetch("config.json")
  .then((answer) => answer.json())
  .then(({ restUrl, ...amendment }) => {
    known = amendment;
    SwaggerUIBundle({
      url: `${restUrl}/`,
      dom_id: "#swagger-ui",
      deepLinking: true,
      presets: [SwaggerUIBundle.presets.apis],
      plugins: [SwaggerUIBundle.plugins.DownloadUrl, readAgain],
      requestInterceptor: withToken,
      validatorUrl: null,
    });
  });
