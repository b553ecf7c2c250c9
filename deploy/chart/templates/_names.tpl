{{/* What several templates call things. One installation per namespace: the names in it are fixed. */}}

{{- define "shifter.selector" -}}
app.kubernetes.io/name: shifter
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shifter.labels" -}}
{{ include "shifter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: service
app.kubernetes.io/part-of: shifter
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "shifter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
What is of the whole cluster, or in a namespace of somebody else's, has the installation's namespace in its name: there may
be another installation in another one. Called with a list: the context, and what is named.
*/}}
{{- define "shifter.nameBeside" -}}
{{ last . }}.{{ (first .).Release.Namespace }}.shifter.io
{{- end }}
