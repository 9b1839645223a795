package api

// Timeout is that of a client's requests unless it has its own.
var Timeout = defaultHTTP.Timeout
