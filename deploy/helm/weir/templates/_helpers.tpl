{{/* The name of all objects: that of the release, with "weir" in it. */}}
{{- define "weir.name" -}}
{{- if .Values.nameOverride -}}
{{- .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "weir" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-weir" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* "true" if something else than `replicas` decides how many there are. */}}
{{- define "weir.scaled" -}}
{{- if or .Values.hpa.enabled .Values.keda.enabled }}true{{ end -}}
{{- end -}}

{{- define "weir.state" -}}
{{- .Values.persistence.claim | default (printf "%s-state" (include "weir.name" .)) -}}
{{- end -}}

{{/* Ends the rendering where values contradict each other. */}}
{{- define "weir.check" -}}
{{- if and .Values.hpa.enabled .Values.keda.enabled -}}
{{- fail "hpa.enabled and keda.enabled: KEDA makes a HorizontalPodAutoscaler of its own; switch one of them off" -}}
{{- end -}}
{{- if and .Values.persistence.enabled (or (gt (int .Values.replicas) 1) (include "weir.scaled" .)) -}}
{{- fail "persistence.enabled: a state folder belongs to one process; use replicas: 1 without hpa and keda, or database.secret instead of persistence" -}}
{{- end -}}
{{- end -}}
