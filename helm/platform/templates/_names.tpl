{{/* Labels of every object. */}}
{{- define "platform.labels" -}}
app.kubernetes.io/name: mautic-platform
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: mautic-multidev
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The kinds of CI jobs that have rights, by their name: those with a group. */}}
{{- define "platform.members" -}}
{{- $members := dict -}}
{{- range $name := list "main" "branches" -}}
{{- with get $.Values.access $name -}}
{{- if .group }}{{ $_ := set $members $name . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $members -}}
{{- end }}
