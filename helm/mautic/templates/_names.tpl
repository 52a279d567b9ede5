{{/*
The name of one of the release's objects: "<release>-<suffix>", at most 52 characters.
52 is what a CronJob may have (its Jobs get 11 more), and a StatefulSet (so does a label of its pods); every other kind
has room for more. A name that would be longer is cut and carries six hex digits of the release's SHA-256. So does one
of a release with a dot, which Helm takes and a Service does not.
Called with (list $ "suffix").
*/}}
{{- define "mautic.name" -}}
{{- $root := index . 0 -}}
{{- $suffix := index . 1 -}}
{{- $release := $root.Values.fullnameOverride | default $root.Release.Name -}}
{{- $room := sub 51 (len $suffix) | int -}}
{{- $plain := $release | replace "." "-" -}}
{{- if or (ne $plain $release) (gt (len $release) $room) -}}
{{- printf "%s-%s" (trunc (sub $room 7 | int) $plain | trimSuffix "-") (sha256sum $release | trunc 6) -}}
{{- else -}}
{{- $release -}}
{{- end -}}
-{{ $suffix }}
{{- end }}

{{/* What selectors select by. Never add to these: a Deployment's selector cannot be changed. */}}
{{- define "mautic.selectorLabels" -}}
app.kubernetes.io/name: mautic
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of every object. Called with (list $ "component"). */}}
{{- define "mautic.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: mautic
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: mautic
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- with $root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Name, labels and annotations of one object.
Called with (dict "root" $ "suffix" "web" "component" "web" "labels" dict "annotations" dict).
*/}}
{{- define "mautic.metadata" -}}
name: {{ include "mautic.name" (list .root .suffix) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "mautic.labels" (list .root .component) | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "mautic.override" (list .root.Values.annotations (.annotations | default dict)) | fromYaml }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mautic.databaseHost" -}}
{{- if .Values.mysql.enabled }}{{ include "mautic.name" (list . "mysql") }}{{ else }}{{ .Values.database.host }}{{ end }}
{{- end }}

{{- define "mautic.redisHost" -}}
{{- if .Values.redis.enabled }}{{ include "mautic.name" (list . "redis") }}{{ else }}{{ .Values.redis.host }}{{ end }}
{{- end }}

{{/* "true" where the release catches its own mail: no Secret says where mail goes. */}}
{{- define "mautic.catchesMail" -}}
{{- if and .Values.mail.catcher.enabled (not (get .Values.secret.files "MAUTIC_MAILER_DSN")) }}true{{ end }}
{{- end }}

{{/* "true" where nginx shows the mails: to whoever has opened its door. */}}
{{- define "mautic.showsMail" -}}
{{- if and (include "mautic.catchesMail" .) .Values.door.passwordKey }}true{{ end }}
{{- end }}

{{/* Below which path mails are shown, as nginx knows it (docker/nginx/nginx.conf). */}}
{{- define "mautic.mailPath" -}}
/_mail/
{{- end }}

{{- define "mautic.mediaClaim" -}}
{{- .Values.media.existingClaim | default (include "mautic.name" (list . "media")) }}
{{- end }}

{{- define "mautic.serviceAccount" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "mautic.name" (list . "app")) "default" -}}
{{- .Values.serviceAccount.name | default $own }}
{{- end }}

{{/* The site's host name, without scheme and port. */}}
{{- define "mautic.host" -}}
{{- (urlParse .Values.site.url).hostname }}
{{- end }}

{{/* "true" when more than one web pod may run. */}}
{{- define "mautic.several" -}}
{{- $web := .Values.web -}}
{{- if $web.autoscaling.enabled }}{{ if gt (int $web.autoscaling.maxReplicas) 1 }}true{{ end }}
{{- else if gt (int $web.replicas) 1 }}true{{ end }}
{{- end }}

{{/*
A map with another one laid over it, deeply, as YAML. Unlike merge, 0, false and "" replace what is below them.
Called with (list below above).
*/}}
{{- define "mautic.override" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $result $key)) -}}
{{- $_ := set $result $key (include "mautic.override" (list (get $result $key) $value) | fromYaml) -}}
{{- else -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $result -}}
{{- end }}
