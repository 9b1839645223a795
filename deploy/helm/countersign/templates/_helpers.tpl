{{- define "countersign.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "countersign.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "countersign.labels" -}}
{{ include "countersign.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* The configuration: what the chart decides, over what values.yaml says. */}}
{{- define "countersign.config" -}}
{{- $database := .Values.config.database | default dict }}
{{- $url := required "config.database.url must name a PostgreSQL: several replicas can't share a file" $database.url }}
{{- $ours := dict "data" "/var/lib/countersign/data" "keyset" (dict "env" "COUNTERSIGN_KEYSET") "public" (dict "listen" ":8080") "operations" (dict "listen" ":8081") }}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $ours) }}
{{- end }}
