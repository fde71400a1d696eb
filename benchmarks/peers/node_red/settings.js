// Node-RED without its editor, as a service that is left alone runs.
module.exports = {
  uiHost: "127.0.0.1",
  uiPort: Number(process.env.PORT),
  userDir: process.env.FOLDER,
  flowFile: process.env.FLOWS,
  httpAdminRoot: false,
  credentialSecret: false,
  diagnostics: { enabled: false, ui: false },
  telemetry: { enabled: false, updateNotification: false },
  logging: { console: { level: "warn", metrics: false, audit: false } },
};
