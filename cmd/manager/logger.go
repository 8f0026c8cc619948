package main

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
)

// newLogger logs to w in a format of --log-format: "json", one object per line, or "text".
func newLogger(w io.Writer, format string, level slog.Level) logr.Logger {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: nameLevel}
	if format == "text" {
		return logr.FromSlogHandler(slog.NewTextHandler(w, opts))
	}
	return logr.FromSlogHandler(slog.NewJSONHandler(w, opts))
}

// nameLevel calls logr's finer levels DEBUG, which slog would write as DEBUG+3.
func nameLevel(groups []string, attr slog.Attr) slog.Attr {
	level, ok := attr.Value.Any().(slog.Level)
	if ok && len(groups) == 0 && attr.Key == slog.LevelKey && level < slog.LevelInfo {
		attr.Value = slog.StringValue(slog.LevelDebug.String())
	}
	return attr
}
