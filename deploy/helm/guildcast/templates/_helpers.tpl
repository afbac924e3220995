{{- define "guildcast.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "guildcast.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "guildcast.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "guildcast.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Relays have another name than nodes: what selects those must not find them. */ -}}
{{- define "guildcast.relaySelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-relay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "guildcast.relayLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "guildcast.relaySelector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* The configuration file: the operator's options and those that must fit the rest of the chart. */ -}}
{{- define "guildcast.config" -}}
{{- $own := dict
  "addr" ":8080"
  "admin-addr" ":9090"
  "watch" true
  "drain-delay" (printf "%ds" (int .Values.drain.delaySeconds))
  "grace" (printf "%ds" (int .Values.drain.graceSeconds))
  "log" "json"
-}}
{{- with .Values.trustedProxies }}{{ $_ := set $own "trusted-proxies" . }}{{ end -}}
{{- with .Values.secrets.jwt }}{{ if and .name .key }}{{ $_ := set $own "jwt-secret-file" (printf "/secrets/jwt/%s" .key) }}{{ end }}{{ end -}}
{{- with .Values.secrets.cluster }}{{ if .name }}{{ $_ := set $own "cluster-secret-file" (printf "/secrets/cluster/%s" .key) }}{{ end }}{{ end -}}
{{- if .Values.tls.secretName }}{{ $_ := set $own "tls-cert" "/secrets/tls/tls.crt" }}{{ $_ := set $own "tls-key" "/secrets/tls/tls.key" }}{{ end -}}
{{- if .Values.policy }}{{ $_ := set $own "policy" "/etc/guildcast/policy" }}{{ end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) -}}
{{- end -}}
