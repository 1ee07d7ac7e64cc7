"""Charts of a run: functions from an evaluation to an Altair chart, which neither print, show nor save."""
