{
  'targets': [
    {
      'target_name': 'writer',
      'sources': ['src/writer.c'],
      'cflags': ['-std=c11', '-Wall', '-Wextra'],
      'xcode_settings': {'OTHER_CFLAGS': ['-std=c11', '-Wall', '-Wextra']},
    },
  ],
}
