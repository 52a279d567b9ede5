{{/* Labels of every object. */}}
{{- define "platform.labels" -}}
app.kubernetes.io/name: mautic-platform
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: mautic-multidev
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- end }}

{{/* What the user name of a branch's CI jobs begins with; the branch follows. */}}
{{- define "platform.user" -}}
{{- with .Values.access.identity -}}
{{ .prefix }}project_path:{{ .project }}:ref_type:branch:ref:
{{- end -}}
{{- end }}

{{/*
The kinds of CI jobs that have rights, by their name: environments and subjects of each, and the group that all of them
are in. With identities, jobs of the main branch are users, and all others are the project's group, in which main's are
as well.
*/}}
{{- define "platform.members" -}}
{{- $members := dict -}}
{{- $access := .Values.access -}}
{{- if $access.identity.project -}}
{{- $user := include "platform.user" . -}}
{{- $users := list -}}
{{- range $access.identity.main }}{{ $users = append $users (dict "kind" "User" "name" (print $user .)) }}{{ end -}}
{{- $group := print $access.identity.prefix $access.identity.project -}}
{{- $all := list (dict "kind" "Group" "name" $group) -}}
{{- $main := dict "environments" $access.main.environments "subjects" $users "group" $group -}}
{{- $branches := dict "environments" $access.branches.environments "subjects" $all "group" $group -}}
{{- $members = dict "main" $main "branches" $branches -}}
{{- else -}}
{{- range $name := list "main" "branches" -}}
{{- with get $access $name -}}
{{- if .group -}}
{{- $subjects := list (dict "kind" "Group" "name" .group) -}}
{{- $_ := set $members $name (dict "environments" .environments "subjects" $subjects "group" .group) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $members -}}
{{- end }}

{{/*
The groups that policies look at, as JSON. With identities also those of before: a binding for them may be left in some
namespace, and as no user of a branch they are refused.
*/}}
{{- define "platform.groups" -}}
{{- $groups := list -}}
{{- range include "platform.members" . | fromYaml }}{{ $groups = append $groups .group }}{{ end -}}
{{- range list .Values.access.main.group .Values.access.branches.group -}}
{{- if . }}{{ $groups = append $groups . }}{{ end -}}
{{- end -}}
{{- $groups | uniq | toJson -}}
{{- end }}

{{/* The subjects of a binding. */}}
{{- define "platform.subjects" -}}
{{- range . }}
- {apiGroup: rbac.authorization.k8s.io, kind: {{ .kind }}, name: {{ .name | quote }}}
{{- end }}
{{- end }}

{{/* "true" where a route is attached to the Gateway of this chart. Called with (dict "root" $ "gateway" gateway). */}}
{{- define "entrance.isOurs" -}}
{{- $own := .root.Values.gateway -}}
{{- if and $own.enabled (eq .gateway.name $own.name) (eq (.gateway.namespace | default "") .root.Release.Namespace) }}true{{ end }}
{{- end }}

{{/*
The Gateway's listeners for the entrance's routes: the others take routes of environments' namespaces, and this one is
none of them.
*/}}
{{- define "entrance.listeners" -}}
{{- $gateway := .Values.gateway -}}
{{- $isSecure := or $gateway.aws.enabled $gateway.tlsSecret -}}
{{- if .Values.entrance.image }}
{{- range $environment, $site := .Values.entrance.sites }}
{{- if and (eq $site.route.kind "httproute") (include "entrance.isOurs" (dict "root" $ "gateway" $site.route.gateway)) }}
- name: entrance-{{ $environment }}
  protocol: {{ $isSecure | ternary "HTTPS" "HTTP" }}
  port: {{ $isSecure | ternary 443 80 }}
  hostname: {{ printf "*.%s" (splitList "." $site.host | rest | join ".") | quote }}
  {{- with $gateway.tlsSecret }}
  tls:
    mode: Terminate
    certificateRefs:
      - {group: "", kind: Secret, name: {{ . }}}
  {{- end }}
  allowedRoutes:
    namespaces: {from: Same}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
