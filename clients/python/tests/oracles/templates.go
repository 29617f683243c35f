// Carries out templates with Go's text/template and the functions of docker's cli/templates.
// Reads {"data": …, "templates": […]} from stdin; writes [{"output": …} or {"error": …}, …].
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

var functions = template.FuncMap{
	"json": func(value any) string {
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			panic(err)
		}
		return strings.TrimSpace(buffer.String())
	},
	"split": strings.Split,
	"join":  strings.Join,
	"title": strings.Title,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(text string, before, after int) string {
		if text == "" {
			return text
		}
		return strings.Repeat(" ", before) + text + strings.Repeat(" ", after)
	},
	"truncate": func(text string, length int) string {
		if len(text) < length {
			return text
		}
		return text[:length]
	},
}

// typed gives JSON's values the types that docker's have: integers, lists and maps of strings.
func typed(value any) any {
	switch found := value.(type) {
	case json.Number:
		if number, err := found.Int64(); err == nil {
			return int(number)
		}
		number, _ := found.Float64()
		return number
	case []any:
		texts := make([]string, 0, len(found))
		for index := range found {
			found[index] = typed(found[index])
			if text, ok := found[index].(string); ok {
				texts = append(texts, text)
			}
		}
		if len(texts) == len(found) {
			return texts
		}
	case map[string]any:
		texts := map[string]string{}
		for key := range found {
			found[key] = typed(found[key])
			if text, ok := found[key].(string); ok {
				texts[key] = text
			}
		}
		if len(texts) == len(found) && len(found) > 0 {
			return texts
		}
	}
	return value
}

func main() {
	var asked struct {
		Data      any      `json:"data"`
		Templates []string `json:"templates"`
	}
	decoder := json.NewDecoder(os.Stdin)
	decoder.UseNumber()
	if err := decoder.Decode(&asked); err != nil {
		panic(err)
	}
	data := typed(asked.Data)
	answers := make([]map[string]string, len(asked.Templates))
	for index, text := range asked.Templates {
		var output strings.Builder
		parsed, err := template.New("").Funcs(functions).Parse(text)
		if err == nil {
			err = parsed.Execute(&output, data)
		}
		if err != nil {
			answers[index] = map[string]string{"error": err.Error()}
		} else {
			answers[index] = map[string]string{"output": output.String()}
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answers); err != nil {
		panic(err)
	}
}
