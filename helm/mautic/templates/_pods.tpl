{{/* Environment of every Mautic container, as a YAML map. Nothing here is secret. */}}
{{- define "mautic.env" -}}
{{- $env := dict
  "MAUTIC_SITE_URL" .Values.site.url
  "MAUTIC_DB_HOST" (include "mautic.databaseHost" .)
  "MAUTIC_DB_PORT" (.Values.database.port | int | toString)
  "MAUTIC_DB_DATABASE" .Values.database.name
  "MAUTIC_DB_USER" .Values.database.user
-}}
{{- if .Values.dev }}
{{- $_ := set $env "PHP_INI_SCAN_DIR" ":/opt/mautic/dev" }}
{{- end }}
{{- with .Values.database.tlsCa }}
{{- $_ := set $env "MAUTIC_DB_TLS_CA_FILE" . }}
{{- end }}
{{- if include "mautic.catchesMail" . }}
{{- $_ := set $env "MAUTIC_MAILER_DSN" (printf "smtp://%s:1025" (include "mautic.name" (list . "mail"))) }}
{{- end }}
{{- if .Values.data.seed }}
{{- /* Mautic would look up its makers for updates, languages and plugins; port 9 is closed in the container itself. */}}
{{- range list "SYSTEM_UPDATE_URL" "STATS_UPDATE_URL" "TRANSLATIONS_LIST_URL" "TRANSLATIONS_FETCH_URL" "MARKETPLACE_ALLOWLIST_URL" }}
{{- $_ := set $env (printf "MAUTIC_%s" .) "http://127.0.0.1:9/" }}
{{- end }}
{{- end }}
{{- range $name, $key := .Values.secret.files }}
{{- if $key }}
{{- $_ := set $env (printf "%s_FILE" $name) (printf "/run/secrets/mautic/%s" $key) }}
{{- end }}
{{- end }}
{{- include "mautic.override" (list $env .Values.env) }}
{{- end }}

{{/* Hash of what a container reads only when it starts. */}}
{{- define "mautic.configHash" -}}
{{- printf "%s\n%s/%s" (include "mautic.env" .) .Values.secret.name .Values.secret.version | sha256sum }}
{{- end }}

{{/* A map as a list of variables. "$(" would be a reference to another variable. */}}
{{- define "mautic.envList" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | replace "$(" "$$(" | quote }}
{{- end }}
{{- end }}

{{/*
A container's list of variables: the chart's own, but for those that the values give, which win; then `above`. The
API takes no name twice.
Called with (dict "own" (a list, as YAML) "given" (a map of the values) "above" (one that is not there yet)).
*/}}
{{- define "mautic.envOver" -}}
{{- $list := list -}}
{{- range .own | fromYamlArray -}}
{{- if not (or (hasKey ($.given | default dict) .name) (hasKey ($.above | default dict) .name)) -}}
{{- $list = append $list . -}}
{{- end -}}
{{- end -}}
{{- with $list -}}
{{- toYaml . -}}
{{- end -}}
{{- include "mautic.envList" (.above | default dict) -}}
{{- end }}

{{/* Pod Security "restricted", for a pod. Called with the uid. */}}
{{- define "mautic.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Pod Security "restricted", for a container. */}}
{{- define "mautic.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
What every pod's spec begins with.
Called with (dict "root" $ "component" "web" "uid" 33 "serviceAccount" name "spread" true).
*/}}
{{- define "mautic.podSpec" -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: false
# A Service called mautic-db would put MAUTIC_DB_PORT=tcp://… into every container.
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "mautic.podSecurity" .uid | nindent 2 }}
{{- with .root.Values.scheduling }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if and .spread .root.Values.scheduling.spread }}
topologySpreadConstraints:
  {{- range .root.Values.scheduling.spread }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "mautic.selectorLabels" (list $.root $.component) | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{/* A container's beginning. Called with (dict "root" $ "name" "fpm" "image" ref). */}}
{{- define "mautic.container" -}}
name: {{ .name }}
image: {{ .image }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
# What it said last stands in its status: whoever waits for it need not ask for its log.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- include "mautic.containerSecurity" . | nindent 2 }}
{{- end }}

{{/* What a working tree's files take the place of, each a volume of its own where `dev` is set. */}}
{{- define "mautic.devPlaces" -}}
plugins: docroot/plugins
themes: docroot/themes
translations: docroot/translations
config: config
{{- end }}

{{/*
Where a Mautic container may write. Called with (dict "root" $ "media" true "dev" true); "dev" is whether it shows a
working tree's files where the values say so.
*/}}
{{- define "mautic.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: cache, mountPath: /var/www/html/var/cache}
- {name: logs, mountPath: /var/www/html/var/logs}
- {name: var-tmp, mountPath: /var/www/html/var/tmp}
- {name: secrets, mountPath: /run/secrets/mautic, readOnly: true}
{{- if .media }}
- {name: media, mountPath: /var/www/html/docroot/media/files, subPath: files}
- {name: media, mountPath: /var/www/html/docroot/media/images, subPath: images}
- {name: media, mountPath: /var/www/html/docroot/media/dashboards, subPath: dashboards}
{{- range $folder, $_ := .root.Values.media.seed }}
- {name: seed-{{ $folder }}, mountPath: /var/www/html/docroot/media/{{ $folder }}/seed, readOnly: true}
{{- end }}
# iplookup:download fills it in one pod, every pod reads it.
- {name: media, mountPath: /var/www/html/var/cache/ip_data, subPath: ip_data}
{{- end }}
{{- if and .dev .root.Values.dev }}
{{- range $name, $place := include "mautic.devPlaces" . | fromYaml }}
- {name: dev-{{ $name }}, mountPath: /var/www/html/{{ $place }}}
{{- end }}
{{- end }}
{{- end }}

{{/*
The volumes of a Mautic pod. Called with (dict "root" $ "media" true "dev" true "files" (dict of variable: key)).
*/}}
{{- define "mautic.volumes" -}}
{{- if and .dev .root.Values.dev }}
{{- range $name, $_ := include "mautic.devPlaces" . | fromYaml }}
- {name: dev-{{ $name }}, emptyDir: {sizeLimit: {{ $.root.Values.scratch.tmp }}}}
{{- end }}
{{- end }}
{{- with .root.Values.scratch }}
- {name: tmp, emptyDir: {sizeLimit: {{ .tmp }}}}
# In memory: thousands of links to the image's compiled cache take a disk seconds.
- {name: cache, emptyDir: {medium: Memory, sizeLimit: {{ .cache }}}}
- {name: logs, emptyDir: {sizeLimit: {{ .logs }}}}
- {name: var-tmp, emptyDir: {sizeLimit: {{ .varTmp }}}}
{{- end }}
- name: secrets
  secret:
    secretName: {{ .root.Values.secret.name }}
    defaultMode: 0440
    items:
      {{- range values .files | compact | uniq | sortAlpha }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- if .media }}
- name: media
  persistentVolumeClaim:
    claimName: {{ include "mautic.mediaClaim" .root }}
{{- /* No subPath: before containerd 2.2 the whole image is mounted in its place, in silence. */}}
{{- range $folder, $reference := .root.Values.media.seed }}
- name: seed-{{ $folder }}
  image: {reference: {{ $reference }}, pullPolicy: {{ $.root.Values.images.pullPolicy }}}
{{- end }}
{{- end }}
{{- end }}

{{/*
With a database of its own the release migrates after its objects exist (migrate.yaml): every other pod waits for
that, by a program that asks the database alone and starts no Mautic. Where a working tree's files are shown, their
places begin as the image has them. Called with (dict "root" $ "dev" true).
*/}}
{{- define "mautic.initContainers" -}}
{{- $shows := and .dev .root.Values.dev }}
{{- if or $shows .root.Values.mysql.enabled }}
initContainers:
  {{- with .root }}
  {{- if .Values.mysql.enabled }}
  - {{ include "mautic.container" (dict "root" . "name" "wait-for-migration" "image" .Values.images.mautic) | nindent 4 | trim }}
    args: [wait]
    envFrom:
      - configMapRef:
          name: {{ include "mautic.name" (list . "env") }}
    {{- $own := list
      (dict "name" "MAUTIC_DB_OWN" "value" "1")
      (dict "name" "MAUTIC_MIGRATE_WAIT" "value" (.Values.migrate.activeDeadlineSeconds | int | toString))
    }}
    {{- with include "mautic.envOver" (dict "own" (toYaml $own) "given" .Values.env) }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml .Values.migrate.waitResources | nindent 6 }}
    volumeMounts:
      - {name: secrets, mountPath: /run/secrets/mautic, readOnly: true}
  {{- end }}
  {{- if $shows }}
  - {{ include "mautic.container" (dict "root" . "name" "fill" "image" .Values.images.mautic) | nindent 4 | trim }}
    args: [sh, -euc, 'for folder; do cp -R "$folder/." "/mnt/${folder##*/}"; done', sh, docroot/plugins, docroot/themes, docroot/translations, config]
    resources:
      {{- toYaml .Values.migrate.waitResources | nindent 6 }}
    volumeMounts:
      {{- range $name, $_ := include "mautic.devPlaces" . | fromYaml }}
      - {name: dev-{{ $name }}, mountPath: /mnt/{{ $name }}}
      {{- end }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Variables of a container with sessions, as a list. */}}
{{- define "mautic.sessionEnv" -}}
{{- if eq .Values.sessions.handler "redis" }}
{{- with .Values.redis.passwordKey }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.secret.name }}
      key: {{ . }}
{{- end }}
- name: PHP_SESSION_SAVE_HANDLER
  value: redis
- name: PHP_SESSION_SAVE_PATH
  {{- $scheme := .Values.redis.tls | ternary "tls" "tcp" }}
  {{- $auth := empty .Values.redis.passwordKey | ternary "" "&auth=$(REDIS_PASSWORD)" }}
  {{- $prefix := printf "%s:session:" .Release.Name }}
  value: {{ printf "%s://%s:%d?prefix=%s%s" $scheme (include "mautic.redisHost" .) (int .Values.redis.port) $prefix $auth | quote }}
{{- else }}
- name: PHP_SESSION_SAVE_PATH
  value: {{ include "mautic.sessionFolder" . }}
{{- end }}
{{- end }}

{{/* Where sessions are that are files: on the claim, because in /tmp they would go with the pod. */}}
{{- define "mautic.sessionFolder" -}}
/var/www/html/var/sessions
{{- end }}
